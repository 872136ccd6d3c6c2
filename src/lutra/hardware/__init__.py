"""What every accelerator's RTL shares."""
