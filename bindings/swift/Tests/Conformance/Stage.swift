import Foundation
import Tombolo

/// How long anything may take on a busy machine.
public let patience = Duration.seconds(120)
private let cancelled = Duration.milliseconds(100)

/// The people of one scenario, and what they hold: one verb of the scenarios each.
public actor Stage {
    private let folder: URL
    private let told: @Sendable (_ kind: String, _ name: String, _ value: String) -> Void
    private var relay: Relay?
    private var address = ""
    private var replicas: [String: Replica] = [:]
    private var workspaces: [String: String] = [:]
    private var documents: [String: String] = [:]
    private var invites: [String: String] = [:]
    private var watches: [String: AsyncThrowingStream<DocumentEvent, any Error>] = [:]
    private var kit: RecoveryKit?

    /// `told` hears of each name that a step gives to something, for other stages.
    public init(folder: URL, told: @escaping @Sendable (String, String, String) -> Void = { _, _, _ in }) {
        (self.folder, self.told) = (folder, told)
    }

    public func play(_ scenario: Scenario) async throws {
        var failure: Failure?
        for (number, step) in scenario.steps.enumerated() {
            do {
                try await within(patience) { try await self.step(step) }
            } catch {
                failure = Failure("\(scenario.name), step \(number + 1), `\(step.joined(separator: " "))`: \(error)")
                break
            }
        }
        try await end()
        if let failure { throw failure }
    }

    public func end() async throws {
        watches = [:]
        for replica in replicas.values { try await replica.close() }
        replicas = [:]
        relay?.kill()
    }

    /// Learns what another stage has named.
    public func learn(_ kind: String, _ name: String, _ value: String) throws {
        switch kind {
        case "workspace": workspaces[name] = value
        case "document": documents[name] = value
        case "invite": invites[name] = value
        case "relay": address = value
        default: throw Failure("nobody learns a \(kind)")
        }
    }

    private func name(_ kind: String, _ name: String, _ value: String) throws {
        try learn(kind, name, value)
        told(kind, name, value)
    }

    public func step(_ words: [String]) async throws {
        let verb = words[0]
        let who = words.count > 1 ? words[1] : ""
        let rest = Array(words.dropFirst(2))
        switch verb {
        case "open", "reopen": replicas[who] = try await Replica.open(at: store(who))
        case "close": try await replica(who).close()
        case "found": try name("workspace", rest[0], await replica(who).createWorkspace(name: rest[0]).id())
        case "create":
            let crdt: Crdt = rest[2] == "yrs" ? .yrs : .automerge
            try name("document", rest[1], await workspace(who, rest[0]).createDocument(crdt: crdt).id())
        case "put", "type", "append", "push", "take", "count", "drop": try await edit(verb, document(who, rest[0]), rest)
        case "expect":
            let found = bare(try await document(who, rest[0]).read(path: [.key(key: rest[1])]))
            if found != (try plain(rest[2])) { throw Failure("\(found) is not \(rest[2])") }
        case "arrives":
            let (document, path) = (try document(who, rest[0]), [PathStep.key(key: rest[1])])
            try await until(try plain(rest[2]), document.events()) { bare(try await document.read(path: path)) }
        case "version": told("version", rest[0], try await document(who, rest[0]).version().map(hexadecimal).joined())
        case "read-unknown": _ = try await replica(who).document(id: String(repeating: "00", count: 16)).read()
        case "read-misnamed": _ = try replica(who).document(id: "no id")
        case "watch": watches["\(who) \(rest[0])"] = try document(who, rest[0]).events()
        case "unwatch": watches["\(who) \(rest[0])"] = nil
        case "hears": try await hears("\(who) \(rest[0])", rest[1], try plain(rest[2]))
        case "fails": try await fails(who, rest)
        case "cancels": try await cancels(Array(words.dropFirst()))
        default: try await others(verb, who, rest)
        }
    }

    private func others(_ verb: String, _ who: String, _ rest: [String]) async throws {
        switch verb {
        case "relay", "cut", "mend", "dial", "dial-at", "settled", "owed", "only", "all", "durable", "same", "pause", "resume",
            "sync":
            try await relays(verb, who, rest)
        case "link", "devices", "revoke", "kit", "recover": try await devices(verb, who, rest)
        default: try await people(verb, who, rest)
        }
    }

    private func store(_ who: String) -> URL { folder.appendingPathComponent("\(who).tombolo") }

    private func replica(_ who: String) throws -> Replica {
        guard let replica = replicas[who] else { throw Failure("\(who) is not here") }
        return replica
    }

    private func document(_ who: String, _ name: String) throws -> Document {
        try replica(who).document(id: documents[name] ?? "no document of this name")
    }

    private func workspace(_ who: String, _ name: String) throws -> Workspace {
        try replica(who).workspace(id: workspaces[name] ?? "no workspace of this name")
    }

    /// Looks whenever something has happened: the first event is how things stand.
    private func until<Event: Sendable, T: Equatable & Sendable>(
        _ wanted: T, _ events: AsyncThrowingStream<Event, any Error>, _ look: @Sendable () async throws -> T
    ) async throws {
        for try await _ in events where try await look() == wanted { return }
        try Task.checkCancellation()
        throw Failure("the events have ended")
    }
}

extension Stage {
    private func edit(_ verb: String, _ document: Document, _ rest: [String]) async throws {
        let key = rest[1].hasPrefix("\"") ? try plain(rest[1]).string ?? "" : rest[1]
        let words = Array(rest.dropFirst(2))
        try await document.edit { edit in
            switch verb {
            case "put": edit.put(key, try plain(words[0]))
            case "type":
                let inserted = try plain(words[2]).string ?? ""
                edit.text(key).splice(at: Int(words[0])!, removing: Int(words[1])!, inserting: inserted)
            case "append": edit.text(key).append(try plain(words[0]).string ?? "")
            case "push": edit.list(key).append(try plain(words[0]))
            case "take": edit.list(key).remove(at: Int(words[0])!, count: Int(words[1])!)
            case "count": edit.counter(key).increment(by: Int64(words[0])!)
            default: edit.delete(key)
            }
        }
    }

    private func hears(_ watch: String, _ key: String, _ wanted: Value) async throws {
        guard let events = watches[watch] else { throw Failure("nobody watches") }
        for try await event in events {
            switch event {
            case .current(let value): if value[key] == wanted { return }
            case .changed(let patches, _, _):
                for patch in patches where patch.place == key {
                    if case .put(let value) = patch.action, value == wanted { return }
                }
            }
        }
        throw Failure("the events have ended")
    }

    private func relays(_ verb: String, _ who: String, _ rest: [String]) async throws {
        switch verb {
        case "relay":
            let started = try Relay(folder: folder.appendingPathComponent("relay"))
            relay = started
            try name("relay", "relay", started.address)
        case "cut": relay?.kill()
        case "mend":
            try relay?.start()
            for replica in replicas.values { try await replica.networkChanged() }
        case "dial": try await replica(who).dial(address)
        case "dial-at": try await replica(who).dial(try plain(rest[0]).string ?? "")
        case "settled": try await workspace(who, rest[0]).waitUntilSettled()
        case "owed":
            let debt = try await workspace(who, rest[0]).syncDebt()
            if debt.settled || debt.documents.isEmpty && debt.records == 0 { throw Failure("\(debt)") }
        case "only":
            let (asked, ids) = (try workspace(who, rest[0]), rest.dropFirst().map { documents[$0] ?? "" })
            try await asked.syncOnly(documents: ids)
            let now = try await asked.syncedOnly()
            if now != ids.sorted() { throw Failure("other documents are asked for: \(now ?? [])") }
        case "all": try await workspace(who, rest[0]).syncAll()
        case "durable": try await document(who, rest[0]).wait()
        case "same":
            let (one, other) = (try document(rest[0], who), try document(rest[1], who))
            try await withThrowingTaskGroup(of: Void.self) { group in
                // Whichever changes last sees it.
                for document in [one, other] {
                    group.addTask {
                        try await self.until(true, document.events()) { try await one.version() == other.version() }
                    }
                }
                try await group.next()
                group.cancelAll()
            }
        case "pause": try await replica(who).pause()
        case "resume": try await replica(who).resume()
        default: try await replica(who).sync(within: Double(rest[0])!)
        }
    }

    private func people(_ verb: String, _ who: String, _ rest: [String]) async throws {
        switch verb {
        case "invite": try name("invite", rest[0], await workspace(who, rest[0]).invite(try role(rest[1])))
        case "accept": _ = try await replica(who).join(invite: try plain(rest[0]).string ?? "")
        case "join": try await replica(who).join(invite: invites[rest[0]] ?? "").waitUntilReady()
        case "has":
            let (replica, document) = (try replica(who), documents[rest[0]])
            try await until(true, replica.events()) {
                for held in try await replica.workspaces() {
                    let listed = try await replica.workspace(id: held.id).documents()
                    if listed.contains(where: { $0.id == document }) { return true }
                }
                return false
            }
        case "role":
            let user = try await replica(rest[1]).identity().user
            _ = try await workspace(who, rest[0]).setRole(user: user, role: try role(rest[2]), expiresMs: nil)
        case "remove":
            let user = try await replica(rest[1]).identity().user
            _ = try await workspace(who, rest[0]).removeMember(user: user)
        case "members":
            let workspace = try workspace(who, rest[0])
            try await until(Int(rest[1])!, try replica(who).events()) { try await workspace.members().count }
        case "becomes":
            let (replica, id) = (try replica(who), workspaces[rest[0]])
            let wanted = rest[1] == "none" ? nil : try role(rest[1])
            try await until(wanted, replica.events()) { try await replica.workspaces().first { $0.id == id }?.role }
        default: throw Failure("nobody knows how to \(verb)")
        }
    }

    private func role(_ name: String) throws -> Role {
        let roles: [Role] = [.carrier, .reader, .commenter, .writer, .admin, .owner]
        guard let role = roles.first(where: { "\($0)" == name }) else { throw Failure("there is no \(name)") }
        return role
    }

    private func devices(_ verb: String, _ who: String, _ rest: [String]) async throws {
        switch verb {
        case "link":
            let request = try await replica(who).requestLink(address: address, way: .scan)
            let approval = try await replica(rest[0]).approveLink(text: request.text())
            let digits = try await request.digits()
            _ = try await approval.asked()
            try await approval.confirm(digits: digits)
            let (linked, user) = (try await request.linked(), try await replica(rest[0]).identity().user)
            if linked != user { throw Failure("\(who) is a device of somebody else") }
        case "devices":
            let replica = try replica(who)
            try await until(Int(rest[0])!, replica.events()) { try await replica.devices().filter { !$0.revoked }.count }
        case "revoke": try await replica(who).revokeDevice(device: try await replica(rest[0]).identity().device)
        case "kit":
            let words = try await replica(who).recoveryKit().words()
            let read = try RecoveryKit.fromWords(words: words)
            kit = read
            try await replica(who).confirmKit(kit: read)
        default:
            guard let kit else { throw Failure("there is no kit") }
            replicas[who] = try await Replica.recover(kit: kit, at: store(who))
        }
    }

    private func fails(_ kind: String, _ step: [String]) async throws {
        do {
            try await self.step(step)
        } catch let error as TomboloError {
            let found = named(error)
            if found != kind && !found.hasPrefix(kind + ".") { throw Failure("\(found) is not \(kind): \(error.reason)") }
            if error.reason.split(separator: " ").count <= 3 { throw Failure("\(kind) gives no reason: \(error.reason)") }
            return
        }
        throw Failure("it did not fail with \(kind)")
    }

    /// `Misuse.OUT_OF_RANGE`: the scenarios write faults as the other languages do.
    private func named(_ error: TomboloError) -> String {
        let variant = Mirror(reflecting: error).children.first
        let name = variant?.label ?? "\(error)"
        let carried = variant.map { Mirror(reflecting: $0.value).children.first { $0.label != "reason" } } ?? nil
        guard let fault = carried?.value else { return name }
        let words = "\(fault)".map { $0.isUppercase ? "_\($0)" : $0.uppercased() }
        return "\(name).\(words.joined())"
    }

    private func cancels(_ step: [String]) async throws {
        let waiting = Task { try await self.step(step) }
        try await Task.sleep(for: .milliseconds(200))
        let began = ContinuousClock.now
        waiting.cancel()
        let result = await waiting.result
        let took = ContinuousClock.now - began
        switch result {
        case .failure(is CancellationError) where took < cancelled: return
        default: throw Failure("it took \(took) to end with \(result)")
        }
    }
}

/// Ends work that takes longer than it may.
public func within<R: Sendable>(_ time: Duration, _ work: @escaping @Sendable () async throws -> R) async throws -> R {
    try await withThrowingTaskGroup(of: R?.self) { group in
        group.addTask { try await work() }
        group.addTask {
            try await Task.sleep(for: time)
            return nil
        }
        defer { group.cancelAll() }
        guard let result = try await group.next() ?? nil else { throw Failure("it takes longer than \(time)") }
        return result
    }
}

private func hexadecimal(_ byte: UInt8) -> String { String(byte >> 4, radix: 16) + String(byte & 15, radix: 16) }
