"""Small shared tools: angles, event tables and csv dialects, arrays, cameras, audio, video and box files."""
