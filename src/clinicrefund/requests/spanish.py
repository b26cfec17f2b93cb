"""What patients write in Spanish. Accents do not matter in matching, so ``cancélela`` covers ``cancelela``."""

from clinicrefund.requests.phrases import Phrases
from clinicrefund.requests.spanish_beside import BESIDE

_TAKE_OUT = (
    "borra", "borre", "borren", "borrar", "elimina", "elimine", "eliminen", "eliminar", "quite", "quiten",
    "quitar", "dar de baja", "doy de baja", "den de baja", "dé de baja", "dame de baja", "deme de baja",
)  # fmt: skip
_MY_VISIT = ("mi cita", "mi turno", "mi hora", "mi reserva", "mi consulta", "mi sesión")

_ASKING = Phrases(
    cancel=(
        "cancelar", "cancela", "cancele", "cancelen", "cancelarme", "cancéleme", "cancelame", "cancélenme",
        "anular", "anula", "anule", "anulen", "anularme", "anúleme", "suspender", "suspendan", "suspenda",
        "cancel", "cancelad", "canceladme", "anulad", "anuladme",
    ),
    cancel_it=(
        "cancelarla", "cancélela", "cancélenla", "cancélala", "cancelarlo", "cancélelo", "cancélenlo",
        "cancélalo", "anularla", "anúlela", "anúlenla", "anúlala", "anularlo", "anúlelo", "anúlenlo",
        "cancélemela", "cancélenmela", "cancélamela", "anúlemela", "anúlenmela", "canceladla", "anuladla",
    ),
    cancelling=("cancelando", "anulando"),
    cancelled=(
        "cancelada", "cancelado", "canceladas", "cancelo", "cancelaron", "cancelaste", "cancelamos",
        "cancelas", "anulada", "anulado", "anularon", "anulo", "cancelan",
    ),
    cancellation=("cancelación", "cancelaciones", "anulación", "anulaciones"),
    visit=(
        "cita", "sita", "turno", "hueco", "consulta", "sesión", "visita", "reserva", "reservación", "hora",
        "terapia", "examen", "limpieza", "masaje", "revisión", "control", "chequeo", "tratamiento",
        "ecografía", "cirugía", "clase", "cita médica", "procedimiento",
    ),
    other=(
        "suscripción", "membresía", "seguro", "póliza", "receta", "recetas", "medicamento", "medicamentos",
        "pedido", "orden", "tarjeta", "cuenta", "pago", "pagos", "boletín", "recordatorio", "recordatorios",
        "mensajes", "vuelo", "viaje", "hotel", "contrato", "factura", "plan", "referido", "crédito",
        "débito", "gimnasio", "cargo", "deuda", "análisis", "laboratorio",
    ),
    when=(
        "hoy", "mañana", "lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo", "tarde",
        "noche", "mediodía", "semana",
    ),
    mine=("mi", "la", "el", "nuestra", "nuestro", "esta", "este", "mis", "los", "las"),
    it=("la", "lo", "esa", "eso"),
    me=("me",),
    after=(
        "por", "porfa", "porfavor", "gracias", "para", "hoy", "mañana", "el", "con", "porque", "ya",
        "debido", "a", "y", "pero", "lo", "estoy", "favor", "del", "de", "saludos", "que", "programada",
        "agendada", "en", "atentamente", "tengo", "me", "no", "d", "xfa", "xfavor", "x", "porfis", "plis",
    ),
    because=("porque", "pues", "ya que", "debido", "por", "y", "pero", "estoy", "tengo", "dado"),
    asking=(
        "por favor", "porfavor", "porfa", "favor de", "quiero", "kiero", "qiero", "nesesito", "nececito",
        "xfa", "x favor", "xfavor", "porfis", "queremos", "quisiera", "quisiéramos", "necesito",
        "necesitamos", "tengo que", "tenemos que", "tendré que", "voy a tener que", "me gustaría",
        "nos gustaría", "deseo", "deseamos", "debo", "debemos", "he decidido", "decidí", "solicito",
        "le pido", "les pido", "pido", "escribo para", "les escribo para", "le escribo para", "llamo para",
        "voy a", "vamos a", "me veo obligada a", "me veo obligado a", "me toca", "pedirle que",
        "pedirles que", "le pido que", "les pido que", "solicito que", "quiero que", "quisiera que",
        "necesito que", "necesito que me", "quiero que me", "le agradecería que", "agradecería que",
        "le ruego que", "ruego que", "ruego que me", "le pido que me", "les pido que me", "^para", "favor",
        "ruego", "le ruego", "les ruego", "rogamos", "^hay que", "^quería", "^queríamos", "pedir que",
        "pedir que me", "por favor me", "quiero pedir que", "tengo q", "haga el favor de",
    ),
    politely=(
        "puede", "pueden", "podría", "podrían", "puedes", "podrías", "me puede", "me pueden", "me podría",
        "me podrían", "me puedes", "me podrías", "sería tan amable de", "me haría el favor de",
        "podría por favor", "puede por favor", "pueden por favor", "podrían por favor",
    ),
    doing=("estoy", "estamos"),
    done=("quiero", "quisiera"),
    of_noun=(
        "solicito la", "pido la", "solicito", "quiero la", "quisiera la", "solicitar la", "pedir la",
        "deseo la", "requiero la", "le pido la", "les pido la", "solicitud de",
    ),
    absent=(
        "no podré ir", "no podré asistir", "no podré acudir", "no podré llegar", "no puedo ir",
        "no puedo asistir", "no puedo acudir", "no voy a poder ir", "no voy a poder asistir",
        "no voy a poder acudir", "no iré", "no voy a ir", "no asistiré", "no voy a asistir",
        "no podremos ir", "no podremos asistir", "no podemos ir", "no podemos asistir", "ya no puedo ir",
        "no acudiré", "ya no voy a ir", "ya no iré", "ya no necesito",
    ),
    requests=(
        "quítenme de la agenda", "den mi turno a otra persona", "den mi cita a otra persona",
        *(f"{verb} {visit}" for verb in _TAKE_OUT for visit in _MY_VISIT),
    ),
    greeting=(
        "hola", "buenas", "buenos días", "buenas tardes", "buenas noches", "buen día", "sí", "si", "ok",
        "perdón", "disculpe", "disculpen", "lo siento", "lo siento mucho", "doctora", "doctor", "estimada",
        "estimado", "estimados", "entonces", "así que", "por eso", "lamentablemente", "desafortunadamente",
        "desgraciadamente", "pero", "y", "dra", "señora", "señor", "señorita", "le", "les",
        "lo siento pero", "oye", "amiga", "amigo", "doc", "oiga", "oigan", "mire", "miren",
        "hola si", "no puedo ir", "no podré ir",
        "no voy a poder ir", "no puedo ir hoy", "no puedo ir mañana", "no voy a poder ir hoy",
        "no voy a poder ir mañana", "no podré ir hoy", "no podré ir mañana",
    ),
    opt_out=(
        "baja", "cancelar", "alto", "darme de baja", "dar de baja", "parar", "detener", "no más mensajes",
        "cancela", "anular", "desuscribir", "salir", "no me manden más mensajes", "no me mande más mensajes",
        "no quiero más mensajes", "ya no me manden mensajes", "no me manden mensajes", "no me escriban más",
        "dejen de mandarme mensajes", "dejen de escribirme",
    ),
    negation=(
        "no", "nunca", "jamás", "ni", "tampoco", "sin", "nadie", "en vez de", "en lugar de", "evitar",
        "ningún",
    ),
    do_not=(
        "por favor no", "favor de no", "favor no", "porfavor no", "porfa no", "no me", "no la",
        "no vayan a",
    ),
    harmless=(
        "no me siento", "no estoy bien", "no me encuentro", "no podré", "no puedo ir", "no puedo asistir",
        "no puedo acudir", "no voy a poder", "no iré", "no voy a ir", "no asistiré", "no me cobren",
        "no me cobre", "por favor no me cobren", "no se preocupe", "no se preocupen", "no hay problema",
        "ya no", "no tengo", "no podremos", "no podemos", "no puedo llegar", "no estaré", "no me es posible",
        "si es posible", "si puede", "si pueden", "si fuera posible", "si me hace el favor",
        "si hay algún cargo", "no alcanzo", "no sabía", "si es tan amable", "si tienen preguntas",
        "no me queda", "no estoy en", "luego llamo para pedir otra", "después llamo para pedir otra",
        "llamo luego para pedir otra", "llamo después para pedir otra", "llamaré para pedir otra",
        "llamaré después para reprogramar", "llamaré luego para reprogramar",
        "llamo después para reprogramar", "luego llamo para reprogramar", "más adelante pido otra cita",
        "luego pido otra cita", "después pido otra cita", "después saco otra cita",
        "llamaré para reprogramar", "no la necesito", "no lo necesito", "ya no la necesito",
        "ya no lo necesito", "no llego con", "no me da tiempo", "no me da el tiempo", "no hacerme",
        "no hacer el", "no seguir con", "hola si", "si mire", "si hola", "si buenas",
        *(f"{wanted} {verb} {visit}" for wanted in ("quería", "queríamos") for verb in ("cancelar", "anular")
          for visit in (*_MY_VISIT, "la cita", "el turno", "la hora", "la consulta")),
    ),
    question=(
        "puedo", "podemos", "podría yo", "debo yo", "debería", "deberia", "cómo", "por qué", "cuándo",
        "cuánto", "hasta cuándo", "qué pasa", "qué hago", "es posible", "sería posible", "será posible",
        "se puede", "todavía puedo", "aún puedo", "hay alguna", "cuál", "qué debo", "es tarde para",
        "me permite", "permiten", "estoy a tiempo", "alcanzo a", "tengo que yo",
    ),
    condition=(
        "si", "a menos", "salvo", "en caso", "siempre que", "siempre y cuando", "depende", "dependiendo",
        "a no ser", "excepto", "de lo contrario", "hasta que", "con tal", "cuando mejore",
    ),
    maybe=(
        "tal vez", "talvez", "quizás", "quizá", "a lo mejor", "creo", "pienso", "pensaba", "pensando",
        "no sé", "puede que", "puede ser", "posiblemente", "probablemente", "capaz", "a ver", "estaba por",
        "quería", "iba a", "no estoy segura", "no estoy seguro", "ojalá", "supongo", "igual",
        "lo más seguro", "espero", "dudo", "tentada", "acaso", "parece",
    ),
    retracted=(
        "mejor no", "olvídelo", "olvídalo", "olvídenlo", "ignore", "ignoren", "es broma", "era broma",
        "broma", "mentira", "cambié de opinión", "cambié de idea", "déjela", "déjelo", "dejen", "mantenga",
        "mantener", "mantengan", "conservar", "no wait", "espere no", "siempre sí", "sí voy", "sí iré",
        "por error", "me equivoqué", "al final sí", "retiro", "no hagan caso", "no haga caso", "ahí estaré",
        "allí estaré", "dejar",
    ),
    sarcasm=(
        "jaja", "jajaja", "jajajaja", "qué maravilla", "claro que sí", "como siempre", "qué lindo",
        "felicidades", "gracias por nada", "total", "qué gran servicio", "da igual", "para variar",
        "cómo no",
    ),
    people=(
        "hijo", "hija", "hijos", "hijas", "esposo", "esposa", "marido", "mujer", "mamá", "madre", "papá",
        "padre", "hermano", "hermana", "abuela", "abuelo", "niño", "niña", "niños", "pareja", "amigo",
        "amiga", "novio", "novia", "bebé", "su", "sus", "suegra", "suegro", "jefe", "jefa", "ella", "usted",
        "cliente", "paciente", "nieto", "nieta", "tía", "tío", "perro", "gato", "otra persona", "alguien",
    ),
    several=(
        "todas", "todos", "todo", "ambas", "ambos", "citas", "sesiones", "consultas", "turnos", "segunda",
        "primera", "las dos", "los dos", "dos", "cada", "cualquier", "resto", "otra cita", "visitas",
        "siguientes",
    ),
    not_yet=(
        "llámeme", "llámame", "llámenme", "me llame", "me llamen", "llamarme", "márqueme", "marque",
        "escríbame", "escríbanme", "escríbeme", "contácteme", "contáctenme", "comuníquese", "comuníquense",
        "avísame", "avíseme", "avísenme", "hable", "hablen", "hablar", "hablemos", "háblenme", "háblame",
        "consulte con", "pregunte", "pregúntele", "pregunten", "espere", "esperen", "espera", "espéreme",
        "aguarde", "aguarden", "un momento", "un segundito", "un segundo", "antes de hacer",
        "antes de cancelar", "antes de que", "primero", "todavía no", "aún no", "no todavía", "le digo",
        "les digo", "le aviso", "les aviso", "le confirmo", "les confirmo", "decido", "decidir", "decida",
        "pendiente", "eventualmente", "algún día", "dígame", "díganme", "dime", "hágamelo saber",
        "conversar", "platicar", "condicionalmente",
    ),
    elsewhere=("en la otra", "en otra", "con la otra", "con otra", "con el otro", "con otro", "no la suya"),
    late=(
        "a tiempo", "antes de", "antes", "hasta", "minutos", "más tarde", "puntual", "sin", "sola", "solo",
    ),
    reported=(
        "dice", "dicen", "dijo", "dijeron", "pidió", "pidieron", "escribió", "según", "me llegó", "recibí",
        "responda", "responder", "el mensaje", "quiere que", "me dijeron",
    ),
    policy=(
        "política", "políticas", "cargo", "cargos", "cobran", "cobrar", "cobro", "cobrarían", "cuesta",
        "costo", "multa", "penalización", "penalidad", "tarifa", "cómo cancelo", "cómo puedo", "cómo se",
        "hasta cuándo", "qué pasa si", "plazo", "antelación", "anticipación", "cuánto", "condiciones",
        "reglas", "sin cargo",
    ),
    past=(
        "fue", "fueron", "ha sido", "cancelaron", "me cancelaron", "me canceló", "yo cancelé", "ya cancelé",
        "nunca cancelé", "usted canceló", "anularon", "pasada", "pasado", "anterior", "alguien cancela",
        "alguien canceló", "está", "ya", "tuve que", "traté de", "intenté", "cancelada por", "última cita",
        "semana pasada", "mes pasado", "ayer", "han cancelado", "habían", "había",
    ),
    moving=(
        "reprogramar", "agendar", "agende", "agenden", "hacer otra", "sacar otra", "pedir otra",
        "tomar otra", "reprogramen", "reprograme", "reagendar", "reagende", "reagenden", "cambiar",
        "cambio", "cambien", "mover", "mueva", "muevan", "otra fecha", "otro día", "otra hora", "otra cita",
        "aplazar", "posponer", "pasar la cita", "pasar mi cita", "pasarla", "más temprano", "más tarde",
        "antes posible", "adelantar", "retrasar", "recorrer", "nueva cita", "deme otra", "denme otra",
        "otra para", "atrasar", "correr",
    ),
    trouble=(
        "no puedo ir", "no podré", "no puedo asistir", "no voy a poder", "enferma", "enfermo", "fiebre",
        "covid", "gripe", "emergencia", "hospital", "no iré", "no voy a ir", "no voy", "no me siento",
        "no puedo llegar", "accidente", "falleció", "no asistiré", "ya no", "contagio", "vómito",
        "reembolso", "devolución", "no alcanzo", "borrar", "eliminar", "faltar", "faltaré", "olvidé",
        "no podemos",
    ),
    everyday=(
        "confirmo", "confirmado", "confirmada", "confirmar", "ahí estaré", "allí estaré", "allá estaré",
        "voy a ir", "sí voy", "nos vemos", "voy en camino", "ya voy", "en camino", "ya llegué",
        "estoy aquí", "minutos tarde", "voy tarde", "llego tarde", "dónde", "a qué hora", "estacionar",
        "estacionamiento", "recibo", "factura", "pedir una cita", "hacer una cita", "agendar una cita",
        "sacar una cita", "aceptan mi", "lista de espera", "alguna cancelación", "avísenme", "avíseme",
        "gracias por el recordatorio", "resultados", "dirección", "minutos de retraso", "llegaré",
        "asistiré",
    ),
    small_talk=(
        "gracias", "muchas", "ok", "vale", "sí", "si", "hola", "buenos", "buenas", "días", "tardes",
        "noches", "perfecto", "muy", "bien", "excelente", "claro", "listo", "de", "acuerdo", "mil", "por",
        "todo", "la", "el", "ayuda", "hasta", "mañana", "luego", "pronto", "saludos", "igualmente",
        "amable", "hoy", "recordatorio", "entendido", "doctora", "doctor", "a", "usted", "ustedes",
    ),
    never_typos=(
        "canela", "cáncer", "cancha", "anual", "angular", "canceles", "circular", "celular", "anuales",
        "consultas", "sesiones", "consultar", "consultado", "consulto", "reservas", "visitas",
    ),
    wrote=("el ... escribió:", "el ... escribio", "el ... wrote:", "en ... escribió:"),
    quoting=(
        "-----mensaje original", "---------- mensaje reenviado", "mensaje reenviado", "mensaje original",
        "rv:", "----- mensaje", "-------- mensaje", "inicio del mensaje reenviado",
    ),
    headers=("de:", "enviado:", "fecha:", "para:", "asunto:", "enviado el:"),
    signature=(
        "enviado desde", "enviado con", "obtener outlook", "aviso de confidencialidad", "este correo",
    ),
)  # fmt: skip

SPANISH = _ASKING.adding(**BESIDE.lists())
