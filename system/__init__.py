"""Families of systems: the rows that `system.SYSTEMS` collects, each with what its stages are made of."""
