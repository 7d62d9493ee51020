"""Many runs: from the command line to one process per run."""
