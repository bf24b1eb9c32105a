"""Models without a network: answers that were recorded, and answers that somebody wrote by hand."""
