"""Parts of `model_registry`: records, metadata, formats, archives, queries and stages."""
