"""The doctor: whether a recording fits what is said of it: its channels, levels, directions, labels and boxes."""
