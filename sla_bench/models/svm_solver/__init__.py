"""The multi-class SVM behind the head `svm`: batched, exact, differentiable."""
