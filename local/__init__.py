"""The stack on one machine: emulator, destination sandboxes, demo."""
