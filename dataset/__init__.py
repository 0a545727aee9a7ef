"""Where recordings lie and how they are read: layouts, lists, recordings, window plans, loaders."""
