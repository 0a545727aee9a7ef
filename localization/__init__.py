"""Localization without training: where sound comes from, frame by frame, and which sources that makes over time."""
