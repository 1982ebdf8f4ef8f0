// swift-tools-version: 6.0

import Foundation
import PackageDescription

// On Apple's platforms the library comes as an XCFramework that `build-xcframework.sh` makes; elsewhere the linker finds
// what cargo has built, by `-L`. `Generated/` holds what `cargo xtask bindings` writes, and is not kept.
#if canImport(Darwin)
let native: Target = .binaryTarget(name: "CTomboloFFI", path: "Generated/CTomboloFFI.xcframework")
#else
let native: Target = .systemLibrary(name: "CTomboloFFI", path: "Generated/CTomboloFFI")
#endif

let package = Package(
    name: "Tombolo",
    platforms: [.iOS(.v16), .macOS(.v13), .tvOS(.v16), .watchOS(.v9)],
    products: [.library(name: "Tombolo", targets: ["Tombolo"])],
    targets: [
        native,
        // Generated code is not written for Swift 6's checks.
        .target(
            name: "TomboloFFI",
            dependencies: ["CTomboloFFI"],
            path: "Generated/TomboloFFI",
            swiftSettings: [.swiftLanguageMode(.v5)]
        ),
        .target(name: "Tombolo", dependencies: ["TomboloFFI"]),
        .executableTarget(name: "two-devices", dependencies: ["Tombolo"]),
        // What the suite shares with the programs that it starts.
        .target(name: "Conformance", dependencies: ["Tombolo"], path: "Tests/Conformance"),
        .executableTarget(name: "tombolo-device", dependencies: ["Conformance"], path: "Tests/Device"),
        .testTarget(name: "TomboloTests", dependencies: ["Tombolo", "Conformance"]),
    ]
)
