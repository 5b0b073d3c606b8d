"""A network and an image in, why it answers so out: see each file."""
