package finding

// encryptionRules are about SOPS files.
var encryptionRules = []Rule{
	{Code: "encrypted-place", Severities: errorOnly, Cause: "An encrypted value, or part of one, was moved to a field where it was not encrypted. There it could be sent elsewhere or shown.",
		Fix: "encrypt the value in the field where it belongs, and don't let a patch or replacement change it", Example: "replacements:\n- source: {kind: ExternalCluster, fieldPath: spec.serviceAccountAuth.token}"},
	{Code: "not-opened", Severities: warningInfo, Cause: "Encrypted files were not decrypted, because no key was given, so their content was not checked.",
		Fix: "use --sops-key FILE, or set SOPS_AGE_KEY_FILE", Example: "muster lint --no-keys"},
	{Code: "sops-block", Severities: errorOnly, Cause: "The sops block of a file is missing, incomplete or unreadable, or has more keys than Muster tries; or the file contains something that sops doesn't write.",
		Fix: "restore the file from Git history, or encrypt the plain file again", Example: "sops:\n  age: []  # and no mac"},
	{Code: "sops-config", Severities: warningOnly, Cause: ".sops.yaml can't be read, so recipients are not compared with it.",
		Fix: "correct it; sops can't encrypt new files with it either", Example: "creation_rules:\n- path_regex: \"[\""},
	{Code: "sops-key", Severities: errorOnly, Cause: "None of the available keys decrypts a file.",
		Fix: "give Muster one of the file's keys, or add Muster's recipient with sops updatekeys", Example: "a file encrypted before the key was replaced"},
	{Code: "sops-mac", Severities: errorOnly, Cause: "The MAC does not match: a value of an encrypted file was changed without sops. If the commit before is known, no key is needed to see that.",
		Fix: "undo the change and edit the file with sops edit or sops set; with mac_only_encrypted in .sops.yaml, changing plain values needs no key", Example: "server: https://new.example.com  # edited by hand"},
	{Code: "sops-no-key", Severities: errorOnly, Cause: "A file is encrypted, and no key was given.",
		Fix: "set spec.decryption.secretRef of the AuditSync to a Secret with keys; on the command line, use --sops-key", Example: "an AuditSync without decryption"},
	{Code: "sops-recipients", Severities: warningOnly, Cause: "A file's recipients differ from its rule in .sops.yaml: someone can't decrypt it who should, or can who shouldn't.",
		Fix: "run sops updatekeys on the file; if someone could read it who shouldn't, replace the credential too", Example: "sops:\n  age:\n  - recipient: age1…  # of a colleague who left"},
	{Code: "sops-refused", Severities: errorOnly, Cause: "Muster may not use a key service of a file, or the service refuses to decrypt the file.",
		Fix: "allow its address in spec.decryption of the AuditSync and give Muster a credential for it; or allow that credential to decrypt with the key", Example: "hc_vault:\n- vault_address: https://vault.example.com  # not among spec.decryption.vault.addresses"},
	{Code: "sops-stopped", Severities: errorOnly, Cause: "Decryption was interrupted.",
		Fix: "run it again; the controller retries by itself", Example: "Ctrl-C"},
	{Code: "sops-unavailable", Severities: errorOnly, Cause: "A key service of a file did not answer. Nothing is known about the file, and what was applied from it stays.",
		Fix: "wait, because Muster retries soon; make sure that the service is up and reachable", Example: "a sealed Vault"},
	{Code: "sops-value", Severities: errorOnly, Cause: "An encrypted value can't be decrypted, or is not a string: it was changed, cut short, or moved here from another place.",
		Fix: "restore the value from Git history, or encrypt the plain file again", Example: "token: ENC[AES256_GCM,…]  # pasted from another file"},
}
