"""The methods of finetuning: each gives the one loop its objective and its data."""
