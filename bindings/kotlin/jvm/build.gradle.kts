plugins {
    kotlin("jvm")
    `java-library`
    `maven-publish`
}

fun folder(name: String) = rootProject.file(providers.gradleProperty(name).get())

kotlin {
    jvmToolchain(17)
}

sourceSets {
    main {
        kotlin.srcDirs("../src/main/kotlin", folder("tombolo.generated"))
        resources.srcDir(folder("tombolo.jvmLibraries"))
    }
}

dependencies {
    api("org.jetbrains.kotlinx:kotlinx-coroutines-core:1.10.2")
    implementation("net.java.dev.jna:jna:5.17.0")
}

publishing {
    publications {
        create<MavenPublication>("jvm") {
            artifactId = "tombolo-jvm"
            from(components["java"])
        }
    }
}
