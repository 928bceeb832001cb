"""Where passages come from: SQuAD from the hub or a file, and generated worlds; and which of them are taken."""
