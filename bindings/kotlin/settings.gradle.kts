// The build for apps: a jar for the JVM, and an Android archive. See README.md for what goes into them first.
pluginManagement {
    repositories {
        google()
        mavenCentral()
        gradlePluginPortal()
    }
}

dependencyResolutionManagement {
    repositories {
        google()
        mavenCentral()
    }
}

rootProject.name = "tombolo"
include(":jvm")
// The Android plugin wants an SDK even to be configured.
if (System.getenv("ANDROID_HOME") != null) {
    include(":android")
}
