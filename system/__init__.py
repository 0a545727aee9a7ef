"""Families of systems: the rows that `system.table.SYSTEMS` collects, each with what its stages are made of."""
