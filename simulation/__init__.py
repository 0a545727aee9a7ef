"""Synthetic audio-visual scenes with exact labels: rooms, arrays, sounds, video."""
