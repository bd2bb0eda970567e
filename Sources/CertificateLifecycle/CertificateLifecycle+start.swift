// CertificateLifecycle
