"""A folder in, what it is and what is wrong with it out: the data doctor."""
