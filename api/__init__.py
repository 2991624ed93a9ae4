"""The doors: settings, command line, and later the HTTP service. Only here is the environment read."""
