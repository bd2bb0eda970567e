/// The namespace declarations in scope at one element: its own, and then those around it.
///
/// As many levels as elements with declarations contain one another, which the limit of depth bounds.
final class NamespaceScope: Sendable {
  let declarations: [Declaration]
  let parent: NamespaceScope?
  /// How many there are on all levels.
  let count: Int

  struct Declaration: Sendable {
    /// Empty for the default namespace.
    let prefix: String
    /// Empty where the default namespace is taken back.
    let namespace: String
  }

  static let empty = NamespaceScope(declarations: [], parent: nil)

  init(declarations: [Declaration], parent: NamespaceScope?) {
    self.declarations = declarations
    self.parent = parent
    count = declarations.count + (parent?.count ?? 0)
  }

  /// What a prefix means here; nil where nobody declared it. The empty prefix without declaration means no namespace.
  func namespace(of prefix: String) -> String? {
    if sameBytes(prefix, "xml") { return Namespaces.xml }
    var scope: NamespaceScope? = self
    while let level = scope {
      for declaration in level.declarations where sameBytes(declaration.prefix, prefix) { return declaration.namespace }
      scope = level.parent
    }
    return prefix.utf8.isEmpty ? "" : nil
  }
}
