package finding

// encryptionRules are about SOPS files as such.
var encryptionRules = []Rule{
	{Code: "encrypted-place", Severities: errorOnly, Cause: "An encrypted value, or part of one, was moved to a field where it was not encrypted: what opens there could be sent elsewhere or shown.",
		Fix: "encrypt the value in the field where it belongs, and let no patch or replacement touch it", Example: "replacements:\n- source: {kind: ExternalCluster, fieldPath: spec.serviceAccountAuth.token}"},
	{Code: "not-opened", Severities: warningInfo, Cause: "Encrypted files were left closed for want of a key, so that their content is not checked.",
		Fix: "give --sops-key FILE, or set SOPS_AGE_KEY_FILE", Example: "muster lint --no-keys"},
	{Code: "sops-block", Severities: errorOnly, Cause: "The sops block of a file is missing, cut short or unreadable, has more keys than are tried for one file, or the file has what sops does not write.",
		Fix: "restore the file from Git history, or encrypt the plain file again", Example: "sops:\n  age: []  # and no mac"},
	{Code: "sops-config", Severities: warningOnly, Cause: ".sops.yaml can't be read, so that recipients are not compared with it.",
		Fix: "correct it; sops encrypts no new file with it either", Example: "creation_rules:\n- path_regex: \"[\""},
	{Code: "sops-key", Severities: errorOnly, Cause: "None of the keys at hand opens a file.",
		Fix: "give Muster one of the file's keys, or add Muster's recipient with sops updatekeys", Example: "a file encrypted before the key was replaced"},
	{Code: "sops-mac", Severities: errorOnly, Cause: "The MAC does not match: a value of an encrypted file was changed without sops. Where the commit before is known, it shows without a key.",
		Fix: "undo the change and edit the file with sops edit or sops set; with mac_only_encrypted in .sops.yaml, plain values need no key", Example: "server: https://new.example.com  # edited by hand"},
	{Code: "sops-no-key", Severities: errorOnly, Cause: "A file is encrypted, and no key was given at all.",
		Fix: "name a Secret with keys in spec.decryption.secretRef of the AuditSync; on the command line give --sops-key", Example: "an AuditSync without decryption"},
	{Code: "sops-recipients", Severities: warningOnly, Cause: "A file is encrypted for others than its rule in .sops.yaml says: somebody can't open it who should, or can who should not.",
		Fix: "run sops updatekeys on the file; where somebody could read it who should not, replace the credential too", Example: "sops:\n  age:\n  - recipient: age1…  # of a colleague who left"},
	{Code: "sops-refused", Severities: errorOnly, Cause: "A key service that a file is encrypted with may not be asked, or does not open the file.",
		Fix: "allow its address in spec.decryption of the AuditSync and give Muster a credential for it; or give the credential the right to decrypt with that key", Example: "hc_vault:\n- vault_address: https://vault.example.com  # not among spec.decryption.vault.addresses"},
	{Code: "sops-stopped", Severities: errorOnly, Cause: "Decryption was interrupted.",
		Fix: "run it again; the controller does that by itself", Example: "Ctrl-C"},
	{Code: "sops-unavailable", Severities: errorOnly, Cause: "A key service that a file is encrypted with did not answer. Nothing is known about the file, and what was applied from it stays.",
		Fix: "wait: Muster asks again soon; see that the service is up and can be reached", Example: "a sealed Vault"},
	{Code: "sops-value", Severities: errorOnly, Cause: "One encrypted value can't be decrypted, or is no text: it was changed, cut short, or moved here from another place.",
		Fix: "restore the value from Git history, or encrypt the plain file again", Example: "token: ENC[AES256_GCM,…]  # pasted from another file"},
}
