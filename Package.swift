// swift-tools-version:6.2
import PackageDescription

// The house, from the inside to the outside: cores (ring 0), rooms (ring 1), doors (ring 2), house (ring 3). docs/architecture.md draws it;
// Tests/ArchitectureTests fails on any edge that the table there does not have.

let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let metrics = Target.Dependency.product(name: "Metrics", package: "swift-metrics")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let x509 = Target.Dependency.product(name: "X509", package: "swift-certificates")
let asn1 = Target.Dependency.product(name: "SwiftASN1", package: "swift-asn1")
let lifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let unixSignals = Target.Dependency.product(name: "UnixSignals", package: "swift-service-lifecycle")
let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let hummingbirdCore = Target.Dependency.product(name: "HummingbirdCore", package: "hummingbird")
let nioHTTPTypes = Target.Dependency.product(name: "NIOHTTPTypes", package: "swift-nio-extras")
let nioTLS = Target.Dependency.product(name: "NIOTLS", package: "swift-nio")
let httpTypes = Target.Dependency.product(name: "HTTPTypes", package: "swift-http-types")
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl")
let httpClient = Target.Dependency.product(name: "AsyncHTTPClient", package: "async-http-client")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")
let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")

let package = Package(
  name: "gatehouse",
  platforms: [.macOS(.v15)],
  products: [.executable(name: "gatehouse", targets: ["gatehouse"])],
  dependencies: [
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
    .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
    .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),
    .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
    .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
  ],
  targets: [
    // Ring 0: cores.
    .target(name: "Bytes"),
    // C with a source of its own: OpenSSL's headers stay behind it.
    .target(name: "COpenSSL", exclude: ["COpenSSL.docc"], linkerSettings: [.linkedLibrary("crypto")]),
    .target(name: "Cryptography", dependencies: ["Bytes", "COpenSSL", crypto]),
    .target(name: "XMLSecurity", dependencies: ["Bytes", "Cryptography"]),
    .target(name: "CertificateLifecycle", dependencies: ["Bytes"]),

    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .target(name: "SAML", dependencies: ["Bytes", "Cryptography", "XMLSecurity", "CZlib"]),
    .target(name: "WSFederation", dependencies: ["Bytes", "Cryptography", "XMLSecurity", "SAML"]),

    // Ring 1: rooms.
    .target(name: "Identity", dependencies: ["Bytes", "Cryptography", logging, metrics]),
    .target(name: "SignIn", dependencies: ["Identity", "Bytes", "Cryptography", logging, metrics, lifecycle]),
    .target(
      name: "PassThrough",
      dependencies: ["Identity", "Bytes", "Cryptography", "CertificateLifecycle", crypto, x509, asn1, logging, metrics, lifecycle]),

    .target(
      name: "Federation",
      dependencies: ["Identity", "Bytes", "Cryptography", "XMLSecurity", "SAML", "WSFederation", "CertificateLifecycle", logging, metrics],
      // The regular expressions of claims ask Foundation's ICU directly, for its limit of time; Foundation's module does not link it for others.
      linkerSettings: [.linkedLibrary("_FoundationICU")]),

    .target(name: "Health", dependencies: ["Identity", "Bytes", "Cryptography", logging, metrics]),

    // Ring 2: doors.
    .systemLibrary(name: "CLDAP", pkgConfig: "ldap", providers: [.apt(["libldap2-dev"])]),
    .systemLibrary(name: "CGSSAPI", providers: [.apt(["libkrb5-dev"])]),
    .systemLibrary(name: "CResolver"),
    .target(
      name: "ActiveDirectory",
      dependencies: [
        "Identity", "SignIn", "PassThrough", "Bytes", "Cryptography", "CLDAP", "CGSSAPI", "CResolver", nioCore, nioPosix, x509, asn1, logging,
        metrics, lifecycle,
      ]),
    .target(
      name: "AgentLink",
      dependencies: ["Identity", "PassThrough", "Bytes", "Cryptography", httpClient, nioCore, nioHTTP1, nioSSL, crypto, logging, metrics, lifecycle]),
    .target(
      name: "SQLiteStore",
      dependencies: ["Identity", "SignIn", "PassThrough", "Federation", "Health", "SAML", "Bytes", "Cryptography", grdb, logging]),
    // C with a source of its own: the header of PKCS #11 (libp11-kit-dev) stays behind it, and the module is loaded at run time.
    .target(name: "CPKCS11", exclude: ["CPKCS11.docc"]),
    .target(name: "KeyStore", dependencies: ["Identity", "Federation", "Bytes", "Cryptography", "CPKCS11", crypto, logging]),
    .target(
      name: "Web",
      dependencies: [
        "Identity", "SignIn", "PassThrough", "Federation", "Health", "SAML", "WSFederation", "XMLSecurity", "CertificateLifecycle", "Bytes",
        "Cryptography",
        hummingbird,
        hummingbirdCore, httpTypes, nioHTTPTypes, nioHTTP1, nioCore,
        nioPosix, nioSSL, nioTLS, x509, logging, metrics, lifecycle,
      ]),

    .target(
      name: "Outbound", dependencies: ["Identity", "Federation", "Health", "Bytes", "Cryptography", httpClient, nioCore, nioPosix, nioHTTP1, nioSSL]),

    // Ring 3: the house.
    .executableTarget(
      name: "gatehouse",
      dependencies: [
        "Bytes", "Cryptography", "CertificateLifecycle", "Identity", "SignIn", "PassThrough", "ActiveDirectory", "AgentLink", "SQLiteStore",
        "KeyStore", "Web", "Federation", "Health", "SAML", "XMLSecurity", "Outbound", argumentParser, yams, lifecycle, unixSignals, httpClient,
        logging, crypto,
        nioCore, nioHTTP1, nioSSL, x509, asn1,
      ]),
    .target(
      name: "GatehouseTesting",
      dependencies: [
        "Bytes", "Cryptography", "Identity", "SignIn", "PassThrough", "Federation", "Health", "SAML", "WSFederation", "XMLSecurity",
        "CertificateLifecycle", x509, asn1, crypto,
      ]),

    // The load driver of the benchmarks: it stands outside of the house and knows nothing of it.
    .executableTarget(
      name: "LoadDriver", dependencies: ["CLDAP", argumentParser, nioCore, nioPosix, nioTLS, nioSSL], path: "Tests/Benchmarks/LoadDriver"),

    // What a signed token costs, without a house around it.
    .executableTarget(name: "TokenBench", dependencies: ["XMLSecurity", "Cryptography", "Bytes"], path: "Tests/Benchmarks/TokenBench"),

    // Tests.
    .testTarget(name: "BytesTests", dependencies: ["Bytes", "GatehouseTesting"]),
    .testTarget(
      name: "XMLSecurityTests", dependencies: ["XMLSecurity", "Cryptography", "Bytes", "GatehouseTesting"], exclude: ["Attacks", "Vectors"]),
    .testTarget(
      name: "SAMLTests", dependencies: ["SAML", "XMLSecurity", "Cryptography", "Bytes", "GatehouseTesting"], exclude: ["Attacks"]),
    .testTarget(
      name: "WSFederationTests", dependencies: ["WSFederation", "SAML", "XMLSecurity", "Cryptography", "Bytes", "GatehouseTesting"],
      exclude: ["Attacks"]),
    .testTarget(
      name: "FederationTests",
      dependencies: [
        "Federation", "SAML", "WSFederation", "XMLSecurity", "Identity", "CertificateLifecycle", "Cryptography", "Bytes", "GatehouseTesting", crypto,
        logging,
      ]),
    .testTarget(name: "CertificateLifecycleTests", dependencies: ["CertificateLifecycle", "Bytes", "GatehouseTesting"]),
    .testTarget(name: "IdentityTests", dependencies: ["Identity", "Bytes", "Cryptography", "GatehouseTesting"]),
    .testTarget(name: "HealthTests", dependencies: ["Health", "Identity", "Bytes", "GatehouseTesting", logging]),
    .testTarget(name: "OutboundTests", dependencies: ["Outbound", "Health", "Identity", "Bytes"]),
    .testTarget(name: "SignInTests", dependencies: ["SignIn", "Identity", "Bytes", "GatehouseTesting"]),
    .testTarget(
      name: "PassThroughTests", dependencies: ["PassThrough", "Identity", "Bytes", "Cryptography", "GatehouseTesting", crypto, x509, asn1]),
    .testTarget(
      name: "SQLiteStoreTests",
      dependencies: ["SQLiteStore", "SignIn", "PassThrough", "Federation", "SAML", "Identity", "Bytes", "GatehouseTesting", grdb]),
    .testTarget(name: "KeyStoreTests", dependencies: ["KeyStore", "Federation", "Identity", "Cryptography", "Bytes", "GatehouseTesting", logging]),
    .testTarget(name: "ActiveDirectoryTests", dependencies: ["ActiveDirectory", "Identity", "Bytes", "GatehouseTesting", nioCore, nioPosix, x509]),
    .testTarget(
      name: "WebTests",
      dependencies: [
        "Web", "SignIn", "PassThrough", "Federation", "Health", "SAML", "WSFederation", "XMLSecurity", "CertificateLifecycle", "Identity", "Bytes",
        "Cryptography",
        "GatehouseTesting", hummingbird,
        httpTypes,
        nioCore, nioPosix, nioSSL,
        lifecycle, logging, metrics, crypto, x509,
      ]),
    .testTarget(
      name: "GatehouseTests",
      dependencies: [
        "gatehouse", "Identity", "SignIn", "PassThrough", "SQLiteStore", "KeyStore", "Cryptography", "Bytes", "GatehouseTesting", crypto, x509, asn1,
        logging,
      ]),
    .testTarget(name: "LoadDriverTests", dependencies: ["LoadDriver"]),
    .testTarget(name: "ArchitectureTests"),
    .testTarget(
      name: "EndToEndTests",
      dependencies: [
        "ActiveDirectory", "AgentLink", "Outbound", "Identity", "Bytes", "PassThrough", "GatehouseTesting", nioCore, nioPosix, nioHTTP1, nioSSL,
        httpClient,
        logging,
      ],
      exclude: ["Attacks", "Programs"]),
  ]
)

// The fuzzer of every parser of foreign bytes: built only where it is asked for (Tests/Fuzzing/README.md), since it instruments everything.
if Context.environment["GATEHOUSE_FUZZ"] != nil {
  package.targets.append(
    .executableTarget(
      name: "fuzz",
      dependencies: [
        "Bytes", "Cryptography", "XMLSecurity", "SAML", "WSFederation", "Identity", "Federation", "PassThrough", "ActiveDirectory", "Web",
      ],
      path: "Tests/Fuzzing",
      exclude: ["README.md", "run"]))
}

// Every own target: complete concurrency checking comes with the language mode; the rest is stated once, here.
for target in package.targets where target.type != .system {
  target.swiftSettings =
    (target.swiftSettings ?? []) + [
      .swiftLanguageMode(.v6),
      .enableUpcomingFeature("ExistentialAny"),  // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0335-existential-any.md
      .enableUpcomingFeature("MemberImportVisibility"),  // …/0444-member-import-visibility.md
    ]
  // Tests/run sets it: what warns is not merged, but a later compiler's new warnings stop nobody from building a release.
  if Context.environment["GATEHOUSE_STRICT"] != nil {
    target.swiftSettings = (target.swiftSettings ?? []) + [.treatAllWarnings(as: .error)]
  }
}
