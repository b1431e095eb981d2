"""`lode completion`: the script that teaches a shell to complete `lode`."""

import click

from lodestream.cli.commands import examples


@click.command(
    epilog=examples(
        'eval "$(lode completion bash)"      # in ~/.bashrc',
        'eval "$(lode completion zsh)"       # in ~/.zshrc',
        "lode completion fish > ~/.config/fish/completions/lode.fish",
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    Commands, options, flows and node types are completed.
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None, shell
    click.echo(made(click.get_current_context().find_root().command, {}, "lode", "_LODE_COMPLETE").source())
