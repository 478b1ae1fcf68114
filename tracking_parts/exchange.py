"""placeholder"""
class Exchange:
    pass
