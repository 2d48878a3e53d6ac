"""BuildKit's protocol: builds that buildx and its like ask for over gRPC, and the services of theirs that we call."""
