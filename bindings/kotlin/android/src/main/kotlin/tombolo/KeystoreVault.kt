package tombolo

import android.security.keystore.KeyGenParameterSpec
import android.security.keystore.KeyProperties
import java.io.File
import java.io.FileOutputStream
import java.security.GeneralSecurityException
import java.security.KeyStore
import javax.crypto.Cipher
import javax.crypto.KeyGenerator
import javax.crypto.SecretKey
import javax.crypto.spec.GCMParameterSpec

/**
 * Keeps the key of a store in a file that only a key of Android's Keystore opens, which never leaves it.
 *
 * Leave the file out of backups: on another device nothing opens it.
 */
public class KeystoreVault(private val file: File, private val alias: String = "tombolo") : KeyVault {
    override fun load(): ByteArray? = refusing {
        if (!file.exists()) return@refusing null
        val kept = file.readBytes()
        val cipher = Cipher.getInstance(CIPHER)
        cipher.init(Cipher.DECRYPT_MODE, wrapping(), GCMParameterSpec(TAG_BITS, kept, 0, NONCE_BYTES))
        cipher.doFinal(kept, NONCE_BYTES, kept.size - NONCE_BYTES)
    }

    override fun save(key: ByteArray): Unit = refusing {
        load()?.let { kept ->
            if (kept.contentEquals(key)) return@refusing
            throw VaultException.Occupied()
        }
        val cipher = Cipher.getInstance(CIPHER)
        cipher.init(Cipher.ENCRYPT_MODE, wrapping())
        val fresh = File(file.path + ".new")
        FileOutputStream(fresh).use { out ->
            out.write(cipher.iv)
            out.write(cipher.doFinal(key))
            out.fd.sync()
        }
        if (!fresh.renameTo(file)) throw VaultException.Refused(NOT_RENAMED)
    }

    private fun wrapping(): SecretKey {
        val store = KeyStore.getInstance(STORE).apply { load(null) }
        (store.getKey(alias, null) as SecretKey?)?.let { return it }
        val purposes = KeyProperties.PURPOSE_ENCRYPT or KeyProperties.PURPOSE_DECRYPT
        val specification = KeyGenParameterSpec.Builder(alias, purposes)
            .setBlockModes(KeyProperties.BLOCK_MODE_GCM)
            .setEncryptionPaddings(KeyProperties.ENCRYPTION_PADDING_NONE)
            .setKeySize(KEY_BITS)
            .build()
        return KeyGenerator.getInstance(KeyProperties.KEY_ALGORITHM_AES, STORE).apply { init(specification) }.generateKey()
    }

    private inline fun <R> refusing(work: () -> R): R = try {
        work()
    } catch (_: GeneralSecurityException) {
        throw VaultException.Refused(KEYSTORE_FAILED)
    } catch (_: java.io.IOException) {
        throw VaultException.Refused(FILE_FAILED)
    }

    private companion object {
        const val STORE = "AndroidKeyStore"
        const val CIPHER = "AES/GCM/NoPadding"
        const val KEY_BITS = 256
        const val TAG_BITS = 128
        const val NONCE_BYTES = 12
        const val KEYSTORE_FAILED = -10L
        const val FILE_FAILED = -11L
        const val NOT_RENAMED = -12L
    }
}
