"""Small adapters from other libraries to experiment tracking; each imports its library only when it is used."""
