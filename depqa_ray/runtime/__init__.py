"""The driver's loop, the replicas on Ray that it drives, and the run that starts both."""
