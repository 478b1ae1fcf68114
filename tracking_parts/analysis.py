"""placeholder"""
class Analysis:
    pass
