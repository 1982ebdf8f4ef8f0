plugins {
    id("com.android.library")
    kotlin("android")
    `maven-publish`
}

fun folder(name: String) = rootProject.file(providers.gradleProperty(name).get())

android {
    namespace = "tombolo"
    compileSdk = 36

    defaultConfig {
        minSdk = 26
        consumerProguardFiles("consumer-rules.pro")
        ndk {
            abiFilters += listOf("arm64-v8a", "armeabi-v7a", "x86_64")
        }
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }

    sourceSets["main"].java.srcDirs("../src/main/kotlin", folder("tombolo.generated"))
    sourceSets["main"].jniLibs.srcDir(folder("tombolo.androidLibraries"))

    // Libraries are mapped out of the APK as they are, so their segments must be aligned to 16 KB: see README.md.
    packaging.jniLibs.useLegacyPackaging = false

    publishing {
        singleVariant("release") {
            withSourcesJar()
        }
    }
}

kotlin {
    jvmToolchain(17)
}

dependencies {
    api("org.jetbrains.kotlinx:kotlinx-coroutines-android:1.10.2")
    // The archive, not the jar: it brings JNA's own native code for Android, in pages of 16 KB since 5.17.
    implementation("net.java.dev.jna:jna:5.17.0@aar")
}

afterEvaluate {
    publishing {
        publications {
            create<MavenPublication>("release") {
                artifactId = "tombolo-android"
                from(components["release"])
            }
        }
    }
}
