"""All commands: defaults and units in their help, a device if they compute; and the completion of the shell."""

import argparse
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from speechvq.cli import arguments, main
from speechvq.cli.program import parser

COMPUTING = {
    "encode",
    "decode",
    "convert",
    "sample",
    "serve",
    "train",
    "targets",
    "codebook",
    "adapt",
    "demo",
    "report",
}
COMPUTING |= {f"evaluate {question}" for question in ("reconstruction", "conversion", "phonemes", "leakage", "rate")}
COMPUTING |= {"evaluate samples"}


def commands(command: argparse.ArgumentParser, above: str = "") -> dict[str, argparse.ArgumentParser]:
    """The commands of a parser by name."""
    found = {}
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                found |= commands(below, f"{above} {name}".strip()) or {f"{above} {name}".strip(): below}
    return found


def test_every_command_that_computes_takes_a_device():
    found = commands(parser())
    assert found.keys() >= COMPUTING
    assert {name for name, one in found.items() if "--device" in one._option_string_actions} == COMPUTING


UNITS = re.compile(
    r"HZ|Hz|dB|LUFS|semitones|seconds|minutes|samples|codes|frames|vectors?\b|utterances|sentences|sequences|clusters|"
    r"neighbours|processes|steps|rounds|level of folders|share|weight|probabilities|divisor|squared distances|random"
)


def options_of_commands() -> dict[str, argparse.Action]:
    """The options that every command takes, by the names of both."""
    found = {}
    for name, command in commands(parser()).items():
        groups = [group._group_actions for group in command._mutually_exclusive_groups if group.required]
        one_of = {id(option) for group in groups for option in group}
        for option in command._actions:
            option.required |= id(option) in one_of
            found[f"{name} {option.option_strings[-1] if option.option_strings else option.dest}"] = option
    return found


def test_every_option_says_its_default_and_unit():
    found = options_of_commands()
    assert len(found) > 250
    for name, option in found.items():
        assert option.help, name
        if option.nargs == 0 or option.required:
            continue
        stated = re.search(r"\(default: (.+)\)", option.help)
        assert stated, name
        default = f"{option.default:g}" if isinstance(option.default, float) else str(option.default)
        if option.default not in (None, "", []) and stated[1] != "all cores":
            assert re.match(rf"{re.escape(default)}([,;]|$)", stated[1]), name
        if option.type not in (None, Path, arguments.port):
            assert UNITS.search(f"{option.help} {option.metavar or option.dest}"), name


@pytest.mark.parametrize("command", ["train absent.toml --data d --out o", "adapt d --speaker s --out o", "demo"])
def test_training_refuses_a_device_that_is_not_there(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("absent.toml").write_text("[model]\n")
    assert main([*command.split(), "--device", "abacus"]) == 2
    assert "device 'abacus' cannot be used" in capsys.readouterr().err


def test_the_shell_completes_commands_options_and_files(tmp_path, capsys):
    pytest.importorskip("shtab", reason='shtab is an extra: pip install ".[completion]"')
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out.startswith("#compdef speechvq")
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "speechvq.bash"
    script.write_text(capsys.readouterr().out)
    bash = shutil.which("bash")
    assert bash
    (tmp_path / "speech.wav").touch()

    def completed(line: str) -> set[str]:
        words = line.split(" ")
        array = " ".join(f"'{word}'" for word in words)
        ask = f"COMP_WORDS=({array}); COMP_CWORD={len(words) - 1}; _shtab_speechvq; "
        ask += "printf '%s\\n' \"${COMPREPLY[@]}\""
        run = [bash, "-c", f"source {script}; {ask}"]
        done = subprocess.run(run, capture_output=True, text=True, check=True, cwd=tmp_path)
        return {word.strip() for word in done.stdout.splitlines()}

    assert {"convert", "completion"} <= completed("speechvq con") | completed("speechvq comp")
    assert "--all-speakers" in completed("speechvq convert --all")
    assert "phonemes" in completed("speechvq evaluate ph")
    assert "speech.wav" in completed("speechvq convert spee")
