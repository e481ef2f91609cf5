"""Whether a customer asks for a person in so many words, whatever else the message is about.

One intent per message can't say "where is my order, and let me talk to someone"; and who asks for a
person gets one. So plain requests are found by their words, before the topic is known.
"""

from __future__ import annotations

import re

PERSON = "person"  # the entity's name

_SOMEBODY = (
    r"(?:(?:a|an|the|some|your|any|real|actual|live|human|customer|care)\s+){0,4}"
    r"(?:persons?|people|humans?|human being|agents?|representatives?|reps?|someone|somebody|some ?one|"
    r"managers?|supervisors?|advisors?|operators?|colleagues?|employees?|staff|team|support|"
    r"customer (?:service|care|support))\b"
)
_ENGLISH = (
    rf"\b(?:talk|speak|chat|talking|speaking|connect|connected|transfer|transferred|put|pass|forward)\b"
    rf"(?:\s+(?:me|this|it|us|live))?(?:\s+(?:through|over|on))?\s+(?:to|with)\s+{_SOMEBODY}",
    rf"\b(?:get|give|need|want|find)\s+(?:me\s+)?(?:a|an)\s+(?:real|live|actual|human)\s+{_SOMEBODY}",
    r"\b(?:can|could|will|would|let|have|need|want)\s+(?:an?|some)\s+(?:real|live|actual|human)\s+"
    r"(?:person|human|agent|being|employee)\b",
    r"\b(?:real|live|actual) (?:person|human|agent)\b",
    r"\b(?:have|get|ask|let|can|could|will|would|please)\s+"
    r"(?:someone|somebody|anyone|anybody|an agent|you)?\s*"
    r"(?:please\s+)?(?:call|phone|ring) me\b(?! (?:a|an|the|sam|it|when|if)\b)",
    r"\bcall me (?:back|asap|please|pls|now|today|tomorrow)\b",
)
_KOREAN = (
    r"상담(?:원|사|직원)[^.?!\n]{0,8}(?:연결|바꿔|통화|얘기|이야기|대화|불러|부탁|원해|하고\s*싶)",
    r"(?:사람|직원|담당자|매니저|책임자)\s*(?:이랑|랑|하고|과|와|분과|분이랑|한테|에게)?\s*"
    r"(?:직접\s*)?(?:얘기|이야기|통화|상담|대화|연결|바꿔|불러)",
    r"(?:상담원|상담사|사람|직원|담당자)\s*(?:분)?\s*(?:이|께서|께|한테|에게)\s*(?:좀\s*|직접\s*)+"
    r"(?:봐\s*주|확인|답변|답해|설명|도와|알려|처리|묻|여쭤|물어|문의)",
    r"전화\s*(?:좀\s*)?(?:주세요|줘요|주실|부탁|해\s*주)",
)
_JAPANESE = (
    r"(?:担当者?|オペレーター|人間|スタッフ|責任者|店長|店員|係の?(?:者|人|方)?|有人)"
    r"(?:さん|の方|の人|の者)?(?:(?:と|に|を|へ|から|で)?[^。？！?!\n]{0,6}?)"
    r"(?:話(?!を聞い)|つな(?!がら)|繋(?!がら)|代わ|替わ|変わ|かわ|お願い|おねがい|出し(?:て|ください)|"
    r"(?:電話|対応)(?:して|を)?(?:ほし|欲し|ください|下さい|もらえ|いただ|頂|お願い))",
    r"(?:お?電話)(?:を)?(?:して)?(?:ください|下さい|ほし|欲し|いただけ|頂け|もらえ|かけて(?:ください|下さい|ほし|もらえ))",
    r"(?:担当者?|オペレーター|スタッフ|店員|係)(?:さん|の方|の人|の者)?に(?:直接)?"
    r"(?:調べ|確認し|聞き|見)(?:て(?:ほし|欲し|もらい|いただき|頂き|ください|下さい)|たい)",
    r"(?<![友知恋代故他])人(?:と|に)(?:直接)?(?:聞き(?:たい|ます)|話し(?:たい|て(?:ほし|もらえ|ください))|話せ|つな|繋|相談(?:したい|できま))",
)
# "Are you a bot?" is asked by who would rather have a person.
_ARE_YOU_A_BOT = (
    r"\b(?:are|r) (?:you|u|ya)\s+"
    r"(?:(?:just|actually|really|even|an?|some|the|real|automated|ai|actual)\s+){0,4}"
    r"(?:(?:chat ?)?bots?|robots?|machine|computer|ai|humans?|person)\b",
    r"\b(?:talking|speaking|chatting|writing|texting)\s+(?:to|with)\s+(?:just\s+)?(?:an?|the)\s+(?:\w+\s+)?"
    r"(?:(?:chat ?)?bot|robot|machine|computer|ai)\b",
    r"\bis (?:this|that|it)\s+(?:(?:just|all|really)\s+)*an?\s+"
    r"(?:automated (?:reply|answer|message|response|system)|(?:\w+\s+)?(?:(?:chat ?)?bot|robot|ai))\b"
    r"(?! (?:vacuum|mop|mower))",
    r"(?:봇|AI|인공지능|(?:^|[.?!,\n]|진짜|혹시|지금|너|당신)\s*(?:사람|인간))"
    r"(?:이세요|이에요|이예요|예요|인가요|인가여|입니까|이신가요|인가|이야|이냐|이죠|맞나요|맞아요|아니에요)",
    r"(?:봇|AI|인공지능|기계)\s?(?:이랑|랑|하고|과|와|한테)\s*[^.?!\n]{0,6}(?:얘기|이야기|대화|상담|말하|채팅)",
    r"(?:ボット|ロボット|AI|ＡＩ|人工知能|人間)(?:さん)?(?:な[のん])?(?:です|でしょう)か",
    r"(?:ボット|ロボット|AI|ＡＩ|人工知能|機械)(?:と(?:話|会話|チャット)|が(?:答え|対応|返事|返信|回答))",
)
_REQUEST = re.compile("|".join((*_ENGLISH, *_KOREAN, *_JAPANESE, *_ARE_YOU_A_BOT)), re.IGNORECASE)
_NOT = re.compile(r"\b(?:don'?t|do not|no need to|not|without|never)\b[^.?!\n]{0,20}$", re.IGNORECASE)
_RATHER_NOT = re.compile(
    r"\s*(?:말고|안\s|않|필요\s?없|은 됐|하지\s?마)|し?[たてせ]?(?:くない|なくて|ないで|ません(?!か))|は?不要"
)


def request_in(text: str) -> re.Match[str] | None:
    """Where a person is asked for; None if nowhere, or if it says "no need to"."""
    for found in _REQUEST.finditer(text):
        if not _NOT.search(text[: found.start()]) and not _RATHER_NOT.match(text[found.end() :]):
            return found
    return None
