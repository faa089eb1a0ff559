//! What the corpus holds, findings of before among it, is no finding.

use std::path::Path;

#[test]
fn the_corpus_finds_nothing() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut folders: Vec<_> = std::fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap()).collect();
    folders.sort_unstable_by_key(std::fs::DirEntry::file_name);
    let names: Vec<_> = folders.iter().map(|folder| folder.file_name().into_string().unwrap()).collect();
    let mut known: Vec<_> = fuzz::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    known.sort_unstable();
    assert_eq!(names, known, "each target has a folder");
    for (folder, name) in folders.iter().zip(names) {
        let target = fuzz::target(&name).unwrap();
        let mut replayed = 0;
        for input in std::fs::read_dir(folder.path()).unwrap() {
            let input = input.unwrap().path();
            println!("{}", input.display());
            target(&std::fs::read(input).unwrap());
            replayed += 1;
        }
        assert!(replayed > 0, "{name} has nothing to replay");
    }
}
