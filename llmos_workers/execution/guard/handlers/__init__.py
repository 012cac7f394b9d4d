"""Programs whose arguments say more than a table can: languages, wrappers, clients."""
