"""The dashboard: one file a tab."""
