#!/bin/sh
# Makes what Package.swift takes on Apple's platforms: Generated/CTomboloFFI.xcframework and the generated Swift.
# It runs on a Mac with Xcode and rustup, from anywhere; `cargo xtask bindings generate` has to have run before.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$top/target}
code=$target/bindings/swift
out=$here/Generated
work=$target/bindings/xcframework

if [ ! -f "$code/TomboloFFI.swift" ]; then
    echo "there is no code in $code: run cargo xtask bindings generate" >&2
    exit 1
fi

# Builds one target as a static library.
build() {
    rustup target add "$1"
    cargo build --manifest-path "$top/Cargo.toml" --release -p tombolo-ffi --target "$1"
}

# Makes one library of those of several targets: a platform has one, whatever its processors.
join() {
    name=$1
    shift
    mkdir -p "$work/$name"
    libraries=""
    for one in "$@"; do
        libraries="$libraries $target/$one/release/libtombolo_ffi.a"
    done
    # shellcheck disable=SC2086 # a list of paths, one word each
    lipo -create $libraries -output "$work/$name/libtombolo_ffi.a"
}

export IPHONEOS_DEPLOYMENT_TARGET=16.0 MACOSX_DEPLOYMENT_TARGET=13.0
for one in aarch64-apple-ios aarch64-apple-ios-sim x86_64-apple-ios aarch64-apple-darwin x86_64-apple-darwin; do
    build "$one"
done

rm -rf "$work" "$out/CTomboloFFI.xcframework"
mkdir -p "$work/headers/CTomboloFFI" "$out/TomboloFFI"
cp "$code/CTomboloFFI.h" "$work/headers/CTomboloFFI/"
# The framework names its library itself.
sed '/link "tombolo_ffi"/d' "$here/module.modulemap" >"$work/headers/CTomboloFFI/module.modulemap"
cp "$code/TomboloFFI.swift" "$out/TomboloFFI/"

join device aarch64-apple-ios
join simulator aarch64-apple-ios-sim x86_64-apple-ios
join mac aarch64-apple-darwin x86_64-apple-darwin
xcodebuild -create-xcframework \
    -library "$work/device/libtombolo_ffi.a" -headers "$work/headers" \
    -library "$work/simulator/libtombolo_ffi.a" -headers "$work/headers" \
    -library "$work/mac/libtombolo_ffi.a" -headers "$work/headers" \
    -output "$out/CTomboloFFI.xcframework"
