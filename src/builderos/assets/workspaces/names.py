"""Names of sandboxes: `sandbox-<adjective>-<noun>`, chosen by the server alone, from 256 × 256 words."""

import secrets
from typing import Final

ADJECTIVES: Final = tuple(
    """
able acid agile airy alert alive amber ample apt aqua arctic ashen aware azure balmy bare basic beige bent big
black blond
blue bold bony brave brief bright brisk broad bronze brown bumpy burly busy calm candid canny chief chilly chosen
civic civil
clean clear clever close coal cobalt cool coral cosmic cosy cozy crisp cubic curly cyan daily damp dapper daring
dark dawn dear
deep deft dense dewy direct dotted downy dry dual dune dusk dusty eager early earthy easy elder elfin elite emerald
epic equal
even exact extra fabled fair famous fancy fast fawn fern few fiery fine firm first fit flat fleet floral fluent
fluffy fond
frank free fresh frosty full fuzzy gentle giant gilded glad gleaming glossy gold golden good grand gray great green
grey gritty
handy happy hardy hazel hazy high hilly honest hushed icy ideal indigo inner ivory jade jaunty jolly jovial keen
khaki kind
known large lasting late lavish leafy lean level light lilac lime linen lively lofty long loud loyal lucid lucky
lunar lush
magic main major maple marble maroon mellow merry mighty mild minty misty modern modest mossy moving muted navy
neat new nimble
noble north novel oak oaken ocean ochre olive onyx opal open orange outer oval pale pastel patient peach pearl pine
pink plain
plum polar polite prime proud pure purple quick quiet rapid rare ready red regal rich ripe rosy round royal ruby
rural russet
rustic sable sage sandy scarlet serene sharp silent silver smart snowy solar steady sunny swift tidy topaz trusty
velvet vivid warm wise
""".split()
)
NOUNS: Final = tuple(
    """
acorn alder anchor ant apple arch arrow aspen aster atlas aurora badger bamboo basin basket bay beach beacon bear
beaver bell
berry birch bird bison bloom bluff boat bough boulder branch breeze brick bridge brook bud buffalo bugle burrow
cabin cactus
camel canal candle canoe canyon cape cardinal castle cave cedar cello chestnut cliff cloud clover coast cobra comet
compass
condor coral cove coyote crab crane crater creek crest cricket crow crystal cube curlew cypress dahlia daisy dale
deer delta
desert dingo dock dolphin dove dragon drum duck dune eagle echo egret elk elm ember falcon feather fern ferry field
finch fjord
flame flax flint flower flute foal fog forest fox frog garden garnet gazelle geyser ginger glacier glade glen goat
goose gorge
granite grape grove gull harbor hare harp hawk hazel heath hedge heron hill hollow horizon horn horse ibex ibis
iris island ivy
jackal jaguar jasmine jay jungle juniper kelp kestrel kite kiwi koala lagoon lake lamp lantern lark laurel lava
leaf lemon lemur
leopard lichen lily linden lion lizard llama lotus lynx magpie mallow mango maple marten meadow melon mesa meteor
mill mint moon
moose moss moth mountain myrtle nebula nest newt oak oasis ocean orbit orchard orchid oriole osprey otter owl oxbow
palm panda
panther parrot path peak pear pebble pelican penguin peony pepper petal pigeon pine piper planet plover plum pond
poplar poppy
prairie puffin puma quail quartz rabbit raven reed reef ridge river robin rose rowan saddle salmon sapling seal
sequoia shell
shore sparrow spruce squirrel star stone stork stream sun swan
""".split()
)
MAX_DRAWS: Final = 4


def draw(attempt: int) -> str:
    """A random branch name; after a few collisions with a random suffix."""
    # One look at the system's dice; of 2^64 numbers none of these names gets a share that anybody could notice.
    number = int.from_bytes(secrets.token_bytes(8), "big") % (len(ADJECTIVES) * len(NOUNS))
    adjective, noun = divmod(number, len(NOUNS))
    name = f"sandbox-{ADJECTIVES[adjective]}-{NOUNS[noun]}"
    return name if attempt < MAX_DRAWS else f"{name}-{secrets.token_hex(3)}"
