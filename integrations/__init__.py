"""Small adapters from other libraries to experiment tracking; none of those libraries is imported or needed here.

    integrations.scikit      estimators and searches of scikit-learn
    integrations.callbacks   Keras and Lightning
    integrations.optuna      studies of Optuna
    integrations.progress    a progress bar that shows and logs

Each takes the handle of a run (`with tracking.run(...) as run:`) or an `ExperimentTracking`, and knows the other
library by what its objects can do.
"""
