import Testing

/// Gives all tests of a suite one federation house, `FederationHouse.current`: it costs half a minute of starting servers. Such suites are `.serialized`, and their
/// tests leave behind what they found, or have people and relying parties of their own.
struct SharedFederation: SuiteTrait, TestScoping {
  let scenario: String
  var shibboleth = ShibbolethServiceProvider.Options()
  var add: [String] = []
  var threshold = 50

  func provideScope(for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void) async throws {
    try await FederationHouse.with(scenario, shibboleth: shibboleth, add: add, threshold: threshold) { federation in
      try await FederationHouse.$shared.withValue(federation) { try await function() }
    }
  }
}

extension Trait where Self == SharedFederation {
  static func federation(
    _ scenario: String, shibboleth: ShibbolethServiceProvider.Options = ShibbolethServiceProvider.Options(), add: [String] = [], threshold: Int = 50
  ) -> SharedFederation { SharedFederation(scenario: scenario, shibboleth: shibboleth, add: add, threshold: threshold) }
}

extension FederationHouse {
  @TaskLocal fileprivate static var shared: FederationHouse?

  /// The house of the suite that the running test belongs to.
  static var current: FederationHouse { get throws { try #require(shared, "the suite has no .federation trait") } }
}
