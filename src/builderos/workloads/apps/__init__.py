"""Analytical apps: releases of a commit, served behind the door by whoever may open them."""
