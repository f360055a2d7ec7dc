"""Which cached unit goes when room is needed: SGLang's orders, policies, and the contract of both."""
