import Foundation

extension House {
  /// Who the gateway is for its relying parties, as an administrator would hand it to them.
  func identityProviderMetadata() async throws -> (entityID: String, document: String) {
    struct Federation: Decodable {
      var entityId: String
      var metadataUrl: String
    }
    let federation = try await admin.json(Federation.self, "federation")
    let browser = CookieBrowser(authority: gateway.publicAuthority)
    let page = try await browser.open(federation.metadataUrl)
    guard page.status == 200 else { throw ServerProcess.Failure(description: "\(federation.metadataUrl) answered \(page.status): \(page.body)") }
    return (federation.entityId, page.body)
  }

  /// Registers a relying party by the metadata that it tells of itself; `folder` is where the file is put.
  func register(_ party: any ServiceProvider, as name: String, in folder: String, _ options: String...) async throws {
    let file = folder + "/\(name)-metadata.xml"
    try await party.metadata().write(toFile: file, atomically: true, encoding: .utf8)
    let outcome = try await AdminTool.run(
      ["rp", "add", "--metadata", file, "--name", name] + options, environment: ["GATEHOUSE_SOCKET": admin.socket])
    guard outcome.status == 0 else {
      throw ServerProcess.Failure(description: "\(name) was not registered: \(outcome.output)\(outcome.complaint)\n\(try await party.metadata())")
    }
  }
}
