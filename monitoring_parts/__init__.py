"""Parts of model_monitoring: results, reading of frames, alerts. Used through `model_monitoring` alone."""
