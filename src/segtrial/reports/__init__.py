"""Records of runs in, tables, figures and pages out; nothing here trains, loads a network or reads data."""
