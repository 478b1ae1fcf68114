"""Real results to learn from: the story of one model, from its first run to its first drift alarm."""
