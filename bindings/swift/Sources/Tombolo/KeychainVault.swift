#if canImport(Security)
import Foundation
import Security
import TomboloFFI

/// Keeps the key of a store in the Keychain, on this device only.
///
/// It can be had after the device was unlocked once: a background task runs while the screen is locked. The store should
/// not be in a backup either: restored on another device, it has no key there.
public final class KeychainVault: KeyVault {
    private let service: String
    private let account: String
    private let group: String?

    /// `account` tells one store's key from another's; `group` shares it with extensions of the app.
    public init(service: String, account: String, group: String? = nil) {
        (self.service, self.account, self.group) = (service, account, group)
    }

    public func load() throws -> Data? {
        var query = item
        query[kSecReturnData] = true
        query[kSecMatchLimit] = kSecMatchLimitOne
        var found: CFTypeRef?
        let status = SecItemCopyMatching(query as CFDictionary, &found)
        if status == errSecItemNotFound { return nil }
        try check(status)
        return found as? Data
    }

    public func save(key: Data) throws {
        var attributes = item
        attributes[kSecValueData] = key
        attributes[kSecAttrAccessible] = kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly
        let status = SecItemAdd(attributes as CFDictionary, nil)
        if status == errSecDuplicateItem {
            guard try load() == key else { throw VaultError.Occupied }
            return
        }
        try check(status)
    }

    private var item: [CFString: Any] {
        var item: [CFString: Any] = [
            kSecClass: kSecClassGenericPassword, kSecAttrService: service, kSecAttrAccount: account,
            kSecUseDataProtectionKeychain: true,
        ]
        if let group { item[kSecAttrAccessGroup] = group }
        return item
    }

    private func check(_ status: OSStatus) throws {
        if status != errSecSuccess { throw VaultError.Refused(code: Int64(status)) }
    }
}
#endif
