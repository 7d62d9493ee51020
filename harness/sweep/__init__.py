"""Many runs: from words on the command line to one process a run."""
