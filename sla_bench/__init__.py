"""How much does self-supervised label augmentation (SLA) gain over a baseline?"""
